"""The desk: agents that form views, and the graph that routes between them. LangGraph is loaded when a desk is made."""
