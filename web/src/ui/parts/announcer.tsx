/* What a screen reader says when a message comes in: a live region that is not seen. */
import { signal } from '@preact/signals';

const said = signal('');
let odd = false;

export function announce(text: string): void {
    /* The same text twice is announced twice only when it differs. */
    odd = !odd;
    said.value = text.slice(0, 300) + (odd ? '\u00a0' : '');
}

export function Announcer() {
    return (
        <div class="unseen" role="status" aria-live="polite" data-test="announcer">
            {said.value}
        </div>
    );
}
