/* A labelled input with a hint, or with what is wrong. */
import type { TargetedEvent } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';

interface Props {
    label: string;
    value: string;
    onValue: (value: string) => void;
    hint?: string | undefined;
    wrong?: string | undefined;
    name?: string;
    password?: boolean;
    autocomplete?: 'username' | 'name' | 'current-password' | 'new-password' | 'off';
    /* A name of the machine's kind: nothing is corrected or capitalised. */
    verbatim?: boolean;
    maxLength?: number;
    autofocus?: boolean;
    required?: boolean;
}

export function Field(p: Props) {
    const id = useId();
    const note = p.wrong ?? p.hint;
    const box = useRef<HTMLInputElement>(null);
    useEffect(() => {
        /* On a phone the keyboard would cover what is to be read first. */
        if (p.autofocus && matchMedia('(pointer: fine)').matches) {
            box.current?.focus();
        }
    }, []);
    const input = {
        id,
        value: p.value,
        name: p.name ?? '',
        autocomplete: p.autocomplete ?? 'off',
        autocapitalize: p.verbatim ? 'none' : 'sentences',
        spellcheck: !p.verbatim && !p.password,
        maxLength: p.maxLength ?? 256,
        required: p.required ?? false,
        'aria-invalid': p.wrong !== undefined,
        ...(note === undefined ? {} : { 'aria-describedby': `${id}-note` }),
        onInput: (e: TargetedEvent<HTMLInputElement>) => p.onValue(e.currentTarget.value),
    } as const;
    return (
        <div class="field">
            <label for={id}>{p.label}</label>
            {p.password ? <input type="password" ref={box} {...input} /> : <input type="text" ref={box} {...input} />}
            {note !== undefined && (
                <p id={`${id}-note`} class={p.wrong === undefined ? 'hint' : 'wrong'}>
                    {note}
                </p>
            )}
        </div>
    );
}
