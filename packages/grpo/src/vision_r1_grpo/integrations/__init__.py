"""The rewards in other trainers: TRL, verl, EasyR1 and ms-swift; `columns` says what their data must hold."""
