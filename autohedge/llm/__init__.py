"""Asking a language model: one attempt at a call (`openai_client`), and the ladder that always ends in an answer (`ladder`).

Importing this package loads neither openai nor tenacity; its modules are imported where they are used.
"""
