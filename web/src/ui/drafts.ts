/* What was begun and not sent, by conversation, as long as the browser keeps it. */
function key(user: string | undefined, conv: string): string {
    return `confab-draft-${user ?? ''}-${conv}`;
}

export function loadDraft(user: string | undefined, conv: string): string {
    try {
        return localStorage.getItem(key(user, conv)) ?? '';
    } catch {
        return '';
    }
}

export function saveDraft(user: string | undefined, conv: string, text: string): void {
    try {
        if (text.trim() === '') {
            localStorage.removeItem(key(user, conv));
        } else {
            localStorage.setItem(key(user, conv), text);
        }
    } catch {
        /* No storage: the draft lasts as long as the conversation is open. */
    }
}
