/*
 * What one chooses for this browser: theme and language. Kept in localStorage, read before the first
 * painting, so that nothing flashes; other tabs follow.
 */
import { signal } from '@preact/signals';
import { readLocal, writeLocal } from '../platform/local.js';
import { isLanguage, type LanguageCode, setLanguage } from './strings.js';

export type Theme = 'system' | 'light' | 'dark';

const THEME = 'confab-theme';
const LANGUAGE = 'confab-language';

export const theme = signal<Theme>('system');
export const languageChoice = signal<LanguageCode | 'auto'>('auto');
/* Rises with each change of the language: what is painted under this key is painted anew. */
export const languageVersion = signal(0);

const darkSystem = window.matchMedia('(prefers-color-scheme: dark)');

function showTheme(value: Theme): void {
    theme.value = value;
    document.documentElement.dataset['theme'] = value === 'system' ? (darkSystem.matches ? 'dark' : 'light') : value;
}

function storedTheme(): Theme {
    const kept = readLocal(THEME);
    return kept === 'light' || kept === 'dark' ? kept : 'system';
}

function storedLanguage(): LanguageCode | 'auto' {
    const kept = readLocal(LANGUAGE);
    return isLanguage(kept) ? kept : 'auto';
}

export function chooseTheme(value: Theme): void {
    writeLocal(THEME, value === 'system' ? undefined : value);
    showTheme(value);
}

async function showLanguage(value: LanguageCode | 'auto'): Promise<void> {
    await setLanguage(value, navigator.languages);
    languageChoice.value = value;
    languageVersion.value++;
}

/* Rejects when the language cannot be loaded; then the former one stays. */
export async function chooseLanguage(value: LanguageCode | 'auto'): Promise<void> {
    await showLanguage(value);
    writeLocal(LANGUAGE, value === 'auto' ? undefined : value);
}

/* Before the first painting. A language that cannot be loaded is English until the next start. */
export async function startPreferences(): Promise<void> {
    showTheme(storedTheme());
    darkSystem.addEventListener('change', () => showTheme(theme.value));
    window.addEventListener('storage', (e) => {
        if (e.key === THEME) {
            showTheme(storedTheme());
        } else if (e.key === LANGUAGE) {
            void showLanguage(storedLanguage()).catch(() => undefined);
        }
    });
    await showLanguage(storedLanguage()).catch(() => undefined);
}
