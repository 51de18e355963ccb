/* A pane of its own with sections to choose from: settings, administration. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { t } from '../strings.js';
import { BackIcon } from './icons.js';

export interface Section {
    id: string;
    label: string;
}

export function SectionsPane({
    title,
    root,
    sections,
    current,
    children,
}: {
    title: string;
    /* '#/settings': the sections are below it. */
    root: string;
    sections: Section[];
    current: string;
    children: ComponentChildren;
}) {
    const tabs = useRef<HTMLElement>(null);
    const label = sections.find((s) => s.id === current)?.label ?? '';
    useEffect(() => {
        tabs.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    }, [current]);
    return (
        <main class="pane" aria-label={title}>
            <header class="bar">
                <a class="icon-button back back-always" href="#/" aria-label={t.back} title={t.back}>
                    <BackIcon />
                </a>
                <h2 class="bar-title bar-name">{title}</h2>
            </header>
            <div class="sections">
                <nav class="sections-nav" aria-label={title} ref={tabs}>
                    {sections.map((s) => (
                        <a key={s.id} href={`${root}/${s.id}`} aria-current={s.id === current ? 'page' : undefined}>
                            {s.label}
                        </a>
                    ))}
                </nav>
                <div class="sections-body" key={current} role="region" aria-label={label} tabIndex={0}>
                    <h3 class="section-title">{label}</h3>
                    {children}
                </div>
            </div>
        </main>
    );
}

/* A switch with its label, and what it means below. */
export function Switch({
    label,
    hint,
    checked,
    disabled = false,
    onChange,
}: {
    label: string;
    hint?: string | undefined;
    checked: boolean;
    disabled?: boolean;
    onChange: (on: boolean) => void;
}) {
    return (
        <label class="switch">
            <span class="switch-text">
                <span>{label}</span>
                {hint !== undefined && <span class="hint">{hint}</span>}
            </span>
            <input type="checkbox" role="switch" checked={checked} disabled={disabled}
                onChange={(e) => onChange(e.currentTarget.checked)} />
        </label>
    );
}

export function Choice<T extends string>({
    label,
    value,
    options,
    onChange,
}: {
    label: string;
    value: T;
    options: [T, string][];
    onChange: (value: T) => void;
}) {
    return (
        <label class="choice">
            <span class="label">{label}</span>
            <select value={value}
                onChange={(e) => {
                    const chosen = options.find(([v]) => v === e.currentTarget.value);
                    if (chosen) {
                        onChange(chosen[0]);
                    }
                }}>
                {options.map(([v, text]) => (
                    <option key={v} value={v}>{text}</option>
                ))}
            </select>
        </label>
    );
}
