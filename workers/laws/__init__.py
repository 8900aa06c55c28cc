"""Laws of sensing, heat, light and stirring: numbers in, numbers out; no clock, no hardware, no other module."""
