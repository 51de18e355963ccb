/* Keys that work everywhere on the page. What they are, the help sheet says. */
import type { AppState } from './app-state.js';

function writing(el: EventTarget | null): boolean {
    return el instanceof HTMLElement && (el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName));
}

/* The conversation before or after the one that is open, as the list has them. */
function step(app: AppState, by: number): void {
    const all = app.client.conversations();
    const route = app.route.value;
    const at = all.findIndex((c) =>
        route.at === 'conversation' ? c.id === route.id : route.at === 'person' && c.with === route.userId,
    );
    const next = all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)];
    if (next) {
        app.go(`#/c/${next.id}`);
    }
}

export function startKeys(app: AppState): void {
    document.addEventListener('keydown', (e) => {
        if (e.defaultPrevented || e.isComposing || app.client.account !== 'in' || app.dialog.value !== undefined || app.question.value) {
            return;
        }
        const command = e.ctrlKey || e.metaKey;
        const key = e.key.toLowerCase();
        if (e.key === '?' && !writing(e.target) && !command) {
            app.dialog.value = 'help';
        } else if (command && !e.shiftKey && !e.altKey && key === 'k') {
            document.getElementById('search')?.focus();
        } else if (e.altKey && !command && key === 'n') {
            app.dialog.value = 'new-chat';
        } else if (e.altKey && !command && (e.key === 'ArrowDown' || e.key === 'ArrowUp')) {
            step(app, e.key === 'ArrowDown' ? 1 : -1);
        } else if (command && e.key === ',') {
            app.go('#/settings');
        } else if (e.key === 'Escape' && !writing(e.target) && ['settings', 'admin'].includes(app.route.value.at)) {
            app.go('#/');
        } else {
            return;
        }
        e.preventDefault();
    });
}
