@rem "npm run dev" says "exec node …", so that a signal to npm reaches the script on Unix. Windows has no exec: this is it.
@%*
