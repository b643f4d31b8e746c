"""The network itself: its weights by canonical names, its one definition, and its ONNX graph."""
