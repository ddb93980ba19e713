"""The same work done by other task queues, each as its own documents say; every module is what their workers load."""
