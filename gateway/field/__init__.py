"""What is wired to the gateway: serial buses with one owner each, digital lines with one decision each."""
