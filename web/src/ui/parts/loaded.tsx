/* What is loaded from the server for a page: loading, there, or why not, with a way to try again. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { problemText, t } from '../strings.js';

export interface Loaded<T> {
    value: T | undefined;
    /* To be shown: that it loads, or why it is not there. */
    state: ComponentChildren;
    again: () => void;
}

/* `key`: what it depends on. An answer that comes after a later question is dropped. */
export function useLoaded<T>(load: () => Promise<T>, key = ''): Loaded<T> {
    const [value, setValue] = useState<T>();
    const [failed, setFailed] = useState<string>();
    const asked = useRef(0);
    const again = (): void => {
        const mine = ++asked.current;
        load().then(
            (v) => {
                if (asked.current === mine) {
                    setValue(() => v);
                    setFailed(undefined);
                }
            },
            (e: unknown) => {
                if (asked.current === mine) {
                    setFailed(problemText(e));
                }
            },
        );
    };
    useEffect(() => {
        again();
        return () => void asked.current++;
    }, [key]);
    const state =
        failed !== undefined ? (
            <p class="form-problem" role="alert">
                {failed}{' '}
                <button type="button" class="link" onClick={again}>{t.tryAgain}</button>
            </p>
        ) : value === undefined ? (
            <p class="list-note" role="status">{t.loading}</p>
        ) : null;
    return { value, state, again };
}
