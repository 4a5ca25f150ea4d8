"""The only code that imports kopf. Kopf watches and indexes; its handlers do nothing but put a key into the work queue."""
