//! Ports, the Engine, the ToolRegistry, the KeywordPlanner.
