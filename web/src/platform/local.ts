/*
 * Small things that this browser keeps, by name: localStorage, which may be denied. Then nothing is
 * there, and what is written lasts as long as whoever wrote it remembers it.
 */
export function readLocal(name: string): string | undefined {
    try {
        return localStorage.getItem(name) ?? undefined;
    } catch {
        return undefined;
    }
}

export function writeLocal(name: string, value: string | undefined): void {
    try {
        if (value === undefined) {
            localStorage.removeItem(name);
        } else {
            localStorage.setItem(name, value);
        }
    } catch {
        /* Denied, or full. */
    }
}

/* Removes all whose names begin so. */
export function forgetLocal(prefix: string): void {
    try {
        for (const name of Object.keys(localStorage)) {
            if (name.startsWith(prefix)) {
                localStorage.removeItem(name);
            }
        }
    } catch {
        /* There is nothing. */
    }
}
