"""Steps of the sale form, one module each: `draw(form)` draws its widgets and puts what they hold into the draft."""
