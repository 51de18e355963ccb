/*
 * What was begun and not sent, by conversation, as long as the browser keeps it: the text, and which
 * message it answers or changes. The text of something new is also with the server (domain/drafts.ts).
 */
/* What is done beside writing something new. */
export interface Begun {
    kind: 'reply' | 'edit';
    /* The message's. */
    id: string;
    /* Of an edit, once something was changed. */
    text?: string;
}

function key(user: string | undefined, conv: string): string {
    return `confab-draft-${user ?? ''}-${conv}`;
}

function read(name: string): string {
    try {
        return localStorage.getItem(name) ?? '';
    } catch {
        return '';
    }
}

function write(name: string, value: string | undefined): void {
    try {
        if (value === undefined) {
            localStorage.removeItem(name);
        } else {
            localStorage.setItem(name, value);
        }
    } catch {
        /* No storage: it lasts as long as the conversation is open. */
    }
}

export function loadDraft(user: string | undefined, conv: string): string {
    return read(key(user, conv));
}

export function saveDraft(user: string | undefined, conv: string, text: string): void {
    write(key(user, conv), text.trim() === '' ? undefined : text);
}

export function parseBegun(text: string): Begun | undefined {
    let v: unknown;
    try {
        v = JSON.parse(text);
    } catch {
        return undefined;
    }
    const { kind, id, text: written } = (v ?? {}) as { [k in keyof Begun]?: unknown };
    if ((kind !== 'reply' && kind !== 'edit') || typeof id !== 'string') {
        return undefined;
    }
    return { kind, id, ...(kind === 'edit' && typeof written === 'string' ? { text: written } : {}) };
}

export function loadBegun(user: string | undefined, conv: string): Begun | undefined {
    return parseBegun(read(`${key(user, conv)}-begun`));
}

export function saveBegun(user: string | undefined, conv: string, begun: Begun | undefined): void {
    write(`${key(user, conv)}-begun`, begun && JSON.stringify(begun));
}
