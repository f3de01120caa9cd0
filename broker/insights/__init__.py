"""What a person's events are worth to themselves: what they own, what they pay for again and again, where their money and their time go."""
