"""Links between an edge and its cloud: profiles (*.yaml here), traces, and the one form that both are converted to."""
