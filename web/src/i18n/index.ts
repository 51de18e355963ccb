/*
 * The languages of the page. English is always here, and its texts say which keys there are: a
 * catalogue without one of them, or with another, does not compile. The others are loaded when they
 * are wanted.
 */
import { type Catalog, en } from './en.js';
import { type Forms, formsOf } from './forms.js';

export type { Catalog } from './en.js';

export type LanguageCode = 'en' | 'de' | 'es' | 'ar' | 'ja';

interface Language {
    /* In the language itself: who looks for it reads it. */
    name: string;
    direction: 'ltr' | 'rtl';
    load: () => Promise<(f: Forms) => Catalog>;
}

export const languages: Record<LanguageCode, Language> = {
    en: { name: 'English', direction: 'ltr', load: () => Promise.resolve(en) },
    de: { name: 'Deutsch', direction: 'ltr', load: async () => (await import('./de.js')).de },
    es: { name: 'Español', direction: 'ltr', load: async () => (await import('./es.js')).es },
    ar: { name: 'العربية', direction: 'rtl', load: async () => (await import('./ar.js')).ar },
    ja: { name: '日本語', direction: 'ltr', load: async () => (await import('./ja.js')).ja },
};

export function isLanguage(code: string | null | undefined): code is LanguageCode {
    return typeof code === 'string' && Object.hasOwn(languages, code);
}

/* The first of what a browser wants that is there: "pt-BR, de-AT" is German, as in Austria. */
export function languageFor(wanted: readonly string[]): { code: LanguageCode; locale: string } {
    for (const locale of wanted) {
        const code = locale.toLowerCase().split('-')[0];
        if (isLanguage(code)) {
            return { code, locale };
        }
    }
    return { code: 'en', locale: 'en' };
}

/* The region of the browser's list is kept for dates and numbers. */
export function localeOf(code: LanguageCode, wanted: readonly string[]): string {
    return wanted.find((l) => l.toLowerCase().split('-')[0] === code) ?? code;
}

export const english: Catalog = en(formsOf('en'));

export async function loadCatalog(code: LanguageCode, locale: string): Promise<Catalog> {
    const make = await languages[code].load();
    return make(formsOf(locale));
}
