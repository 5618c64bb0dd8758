"""fp16 and int8 files: built, measured beside float32, accepted or refused."""
