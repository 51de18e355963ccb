/* What a catalogue needs of Intl to make a phrase in its language. */
export type Phrases = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };

export interface Forms {
    /* The phrase that fits n; # in it is n, written as the language writes numbers. */
    count(n: number, phrases: Phrases): string;
    number(n: number): string;
    list(names: string[]): string;
}

export function formsOf(locale: string): Forms {
    const plurals = new Intl.PluralRules(locale);
    const numbers = new Intl.NumberFormat(locale);
    const lists = new Intl.ListFormat(locale);
    return {
        count: (n, phrases) => (phrases[plurals.select(n)] ?? phrases.other).replace('#', numbers.format(n)),
        number: (n) => numbers.format(n),
        list: (names) => lists.format(names),
    };
}
