"""What a run leaves behind, put together: its trace, charts of it, exports."""
