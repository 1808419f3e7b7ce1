"""What crosses between processes: control messages, data frames, and the clocks behind them."""
