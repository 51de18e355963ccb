/*
 * A dialog over the page: the browser's own <dialog> keeps the focus inside and answers Escape.
 * The focus goes back to what had it before.
 */
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { t } from '../strings.js';
import { CloseIcon } from './icons.js';

export function Modal({
    title,
    question,
    onClose,
    children,
}: {
    title: string;
    /* It asks for an answer before anything else goes on: this. */
    question?: string;
    onClose: () => void;
    children: ComponentChildren;
}) {
    const box = useRef<HTMLDialogElement>(null);
    const id = useId();
    useEffect(() => {
        const dialog = box.current;
        const before = document.activeElement;
        /* What the answer takes away cannot have the focus back: then what stood next to it in its list. */
        const item = before?.closest('li');
        const places = [before, item?.nextElementSibling, item?.previousElementSibling];
        dialog?.showModal();
        return () => {
            dialog?.close();
            /* It is out of the page by now, and the browser gives the focus back only of one that is in it. */
            for (const place of places) {
                if (document.activeElement === document.body && place instanceof HTMLElement && place.isConnected) {
                    place.focus({ preventScroll: true });
                }
            }
        };
    }, []);
    return (
        <dialog
            class="modal"
            ref={box}
            aria-labelledby={id}
            {...(question === undefined ? {} : { role: 'alertdialog', 'aria-describedby': `${id}-question` })}
            onCancel={(e) => {
                e.preventDefault();
                onClose();
            }}
            onClick={(e) => {
                if (e.target === box.current) {
                    onClose();
                }
            }}
        >
            <div class="modal-body">
                <header class="modal-head">
                    <h2 id={id}>{title}</h2>
                    <button type="button" class="icon-button" aria-label={t.close} title={t.close} onClick={onClose}>
                        <CloseIcon />
                    </button>
                </header>
                {question !== undefined && <p id={`${id}-question`}>{question}</p>}
                {children}
            </div>
        </dialog>
    );
}
