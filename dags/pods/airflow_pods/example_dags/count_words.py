"""Count the words of a text in a container, with an image that every registry has.

Trigger it with the namespace in which your connection ``kubernetes_default`` may run pods.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_pods import PodOperator

COUNT = """
words=$(echo "$TEXT" | wc -w)
echo "{\\"words\\": $words, \\"sentence\\": \\"counted $words words\\"}" > /dev/termination-log
"""
"""A container leaves its result, one JSON object, as its termination message."""

with DAG(
    "pods_count_words",
    schedule=None,
    params={
        "text": Param("to be or not to be", type="string"),
        "namespace": Param("default", type="string"),
        "image": Param("alpine:3", type="string", description="Any image with a shell."),
    },
) as dag:
    PodOperator(
        task_id="count",
        name="count-words",
        namespace="{{ params.namespace }}",
        image="{{ params.image }}",
        cmds=["sh", "-c"],
        arguments=[COUNT],
        env_vars={"TEXT": "{{ params.text }}"},
        security_context={"runAsUser": 65532},  # the image's own user is root, which is refused
    )
