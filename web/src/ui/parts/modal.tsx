/* A dialog over the page: the browser's own <dialog> keeps the focus inside and answers Escape. */
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { t } from '../strings.js';
import { CloseIcon } from './icons.js';

export function Modal({
    title,
    onClose,
    children,
}: {
    title: string;
    onClose: () => void;
    children: ComponentChildren;
}) {
    const box = useRef<HTMLDialogElement>(null);
    const id = useId();
    useEffect(() => {
        const dialog = box.current;
        dialog?.showModal();
        return () => dialog?.close();
    }, []);
    return (
        <dialog
            class="modal"
            ref={box}
            aria-labelledby={id}
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
                {children}
            </div>
        </dialog>
    );
}
