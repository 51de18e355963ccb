/*
 * A button with a menu: arrows move in it, Escape and a click elsewhere close it, and the focus goes
 * back to the button.
 */
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

export interface MenuItem {
    label: string;
    onPick: () => void;
    danger?: boolean;
}

interface Props {
    label: string;
    /* A function is asked when the menu opens. */
    items: MenuItem[] | (() => MenuItem[]);
    children: ComponentChildren;
    class?: string;
    tabIndex?: number;
}

export function MenuButton({ label, items, children, class: extra = '', tabIndex = 0 }: Props) {
    const [open, setOpen] = useState(false);
    const [upwards, setUpwards] = useState(false);
    const root = useRef<HTMLSpanElement>(null);
    const button = useRef<HTMLButtonElement>(null);
    const list = useRef<HTMLDivElement>(null);

    useLayoutEffect(() => {
        if (open && list.current) {
            /* Opens to where there is room. */
            const box = list.current.getBoundingClientRect();
            setUpwards(box.bottom > window.innerHeight - 8);
            const over = box.right > window.innerWidth - 8 ? box.right - window.innerWidth + 8 : Math.min(box.left - 8, 0);
            list.current.style.translate = `${-Math.round(over)}px 0`;
            list.current.querySelector<HTMLElement>('[role=menuitem]')?.focus({ preventScroll: true });
        }
        if (!open) {
            setUpwards(false);
        }
    }, [open]);

    useEffect(() => {
        if (!open) {
            return undefined;
        }
        const away = (e: Event) => {
            if (e.target instanceof Node && !root.current?.contains(e.target)) {
                setOpen(false);
            }
        };
        document.addEventListener('pointerdown', away);
        return () => document.removeEventListener('pointerdown', away);
    }, [open]);

    const close = () => {
        setOpen(false);
        button.current?.focus();
    };
    const onKey = (e: KeyboardEvent) => {
        const all = [...(list.current?.querySelectorAll<HTMLElement>('[role=menuitem]') ?? [])];
        const at = all.findIndex((el) => el === document.activeElement);
        const move: Record<string, number> = {
            ArrowDown: at + 1,
            ArrowUp: at - 1 + all.length,
            Home: 0,
            End: all.length - 1,
        };
        const to = move[e.key];
        if (e.key === 'Escape') {
            close();
        } else if (to !== undefined) {
            all[to % all.length]?.focus();
        } else if (e.key === 'Tab') {
            setOpen(false);
            return;
        } else {
            return;
        }
        e.preventDefault();
        e.stopPropagation();
    };
    return (
        <span class={`menu-root ${open ? 'menu-open' : ''}`} ref={root}>
            <button
                type="button"
                class={`icon-button ${extra}`}
                ref={button}
                aria-label={label}
                title={label}
                aria-haspopup="menu"
                aria-expanded={open}
                tabIndex={tabIndex}
                onClick={() => setOpen(!open)}
            >
                {children}
            </button>
            {open && (
                <div
                    class={`menu ${upwards ? 'menu-up' : ''}`}
                    role="menu"
                    aria-label={label}
                    ref={list}
                    onKeyDown={onKey}
                >
                    {(typeof items === 'function' ? items() : items).map((item) => (
                        <button
                            key={item.label}
                            type="button"
                            role="menuitem"
                            tabIndex={-1}
                            class={`menu-item ${item.danger ? 'danger' : ''}`}
                            onClick={() => {
                                close();
                                item.onPick();
                            }}
                        >
                            {item.label}
                        </button>
                    ))}
                </div>
            )}
        </span>
    );
}
