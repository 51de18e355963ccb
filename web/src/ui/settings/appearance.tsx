/* Theme and language of this browser, and the page as an app. */
import type { AppState } from '../app-state.js';
import { installable } from '../install.js';
import { Choice } from '../parts/sections.js';
import { chooseLanguage, chooseTheme, languageChoice, type Theme, theme } from '../preferences.js';
import { browserLanguage, isLanguage, type LanguageCode, languages, t } from '../strings.js';

const THEMES: Theme[] = ['system', 'light', 'dark'];

export function Appearance({ app }: { app: AppState }) {
    const install = installable.value;
    const codes = Object.keys(languages).filter(isLanguage);
    const options: ['auto' | LanguageCode, string][] = [
        ['auto', t.languageAuto(languages[browserLanguage(navigator.languages)].name)],
        ...codes.map((c): [LanguageCode, string] => [c, languages[c].name]),
    ];
    return (
        <>
            <Choice label={t.theme} value={theme.value} options={THEMES.map((v) => [v, t.themes[v]])} onChange={chooseTheme} />
            <Choice label={t.language} value={languageChoice.value} options={options}
                onChange={(v) => void chooseLanguage(v).catch(() => app.tell(t.languageFailed))} />
            {install && (
                <div class="block">
                    <h4 class="block-title">{t.installTitle}</h4>
                    <p class="lead">{t.installHint}</p>
                    <button type="button" class="primary" onClick={() => void install()}>{t.install}</button>
                </div>
            )}
        </>
    );
}
