"""Tables: readers, kinds of columns, encoders fitted on train, splits."""
