/* A list that comes in pages: the first at once, more when it is asked for. */
import type { Page } from '@confab/client';
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { problemText, t } from '../strings.js';
import { useLoaded } from './loaded.js';

export interface Pages<T> {
    list: T[];
    state: ComponentChildren;
    /* The button for the next page, where there is one. */
    more: ComponentChildren;
    again: () => void;
}

export function usePages<T>(load: (cursor: string | undefined) => Promise<Page<T>>, key = ''): Pages<T> {
    const first = useLoaded(() => load(undefined), key);
    const [rest, setRest] = useState<{ of: Page<T>; list: T[]; cursor: string | undefined }>();
    const [busy, setBusy] = useState(false);
    const [failed, setFailed] = useState<string>();
    const mine = rest && rest.of === first.value ? rest : undefined;
    const cursor = mine ? mine.cursor : first.value?.cursor;
    const next = async (): Promise<void> => {
        const of = first.value;
        if (!of || cursor === undefined) {
            return;
        }
        setBusy(true);
        setFailed(undefined);
        try {
            const page = await load(cursor);
            setRest({ of, list: [...(mine?.list ?? []), ...page.list], cursor: page.cursor });
        } catch (e) {
            setFailed(problemText(e));
        }
        setBusy(false);
    };
    return {
        list: [...(first.value?.list ?? []), ...(mine?.list ?? [])],
        state: first.state,
        more: (
            <>
                {failed !== undefined && <p class="form-problem" role="alert">{failed}</p>}
                {cursor !== undefined && (
                    <button type="button" class="plain" disabled={busy} onClick={() => void next()}>{t.more}</button>
                )}
            </>
        ),
        again: first.again,
    };
}
