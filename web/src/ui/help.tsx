/* The help sheet: which keys do what. */
import { Modal } from './parts/modal.js';
import { t } from './strings.js';

export function Help({ onClose }: { onClose: () => void }) {
    const k = t.keys;
    const groups: [string, [string[], string][]][] = [
        [
            k.general,
            [
                [['?'], k.help],
                [['Ctrl', 'K'], k.search],
                [['Alt', 'N'], k.newChat],
                [['Alt', '↓'], k.nextConversation],
                [['Alt', '↑'], k.previousConversation],
                [['Ctrl', ','], k.settings],
                [['Esc'], k.close],
            ],
        ],
        [
            k.list,
            [
                [['↑', '↓'], k.move],
                [['Home', 'End'], k.firstLast],
                [['Enter'], k.open],
                [['Shift', 'F10'], k.menu],
            ],
        ],
        [
            k.conversation,
            [
                [['↑', '↓'], k.messages],
                [['Enter'], k.actions],
            ],
        ],
        [
            k.writing,
            [
                [['Enter'], k.send],
                [['Shift', 'Enter'], k.newLine],
                [['↑'], k.editLast],
                [['Esc'], k.cancel],
            ],
        ],
    ];
    return (
        <Modal title={t.help} onClose={onClose}>
            {groups.map(([title, lines]) => (
                <section key={title} class="keys">
                    <h3 class="block-title">{title}</h3>
                    <dl>
                        {lines.map(([keys, what]) => (
                            <div key={what} class="keys-line">
                                <dt dir="ltr">
                                    {keys.map((key) => (
                                        <kbd key={key}>{key}</kbd>
                                    ))}
                                </dt>
                                <dd>{what}</dd>
                            </div>
                        ))}
                    </dl>
                </section>
            ))}
        </Modal>
    );
}
