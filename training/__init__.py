"""Training and evaluation programs; start them with `accelerate launch training/train.py --config …`."""
