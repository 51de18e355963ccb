/* A person's or a group's initials on a colour that is always the same for them. */
function hue(id: string): number {
    let h = 0;
    for (const ch of id) {
        h = (h * 31 + ch.charCodeAt(0)) >>> 0;
    }
    return h % 8;
}

export function initials(name: string): string {
    const words = name.trim().split(/\s+/).filter(Boolean);
    const letters = [words[0], words.length > 1 ? words.at(-1) : undefined].map(
        (w) => (w === undefined ? '' : (Array.from(w)[0] ?? '')),
    );
    return letters.join('').toLocaleUpperCase();
}

export function Avatar({ id, name, size = 'normal' }: { id: string; name: string; size?: 'small' | 'normal' | 'large' }) {
    return (
        <span class={`avatar avatar-${size} hue-${hue(id)}`} aria-hidden="true">
            {initials(name)}
        </span>
    );
}
