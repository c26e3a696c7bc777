using System.Globalization;
using System.Text.Json.Serialization;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Hub.EventStore;

namespace Intercommunalite.Hub.Payments;

/// <summary>An invoice and what became of it; amounts in euro cents.</summary>
/// <param name="Commune">The commune that issued it.</param>
/// <param name="Subject">Its own key.</param>
/// <param name="Service">What is billed; empty as long as the invoice itself is not known.</param>
/// <param name="Period">Month of issue, <c>YYYY-MM</c>; empty as long as the invoice itself is not known.</param>
/// <param name="Issued">Amount issued.</param>
/// <param name="Reduced">By how much it was reduced.</param>
/// <param name="Cancelled">Whether it was cancelled whole.</param>
/// <param name="Collected">Amount collected, less what was refunded.</param>
/// <param name="Early">Money that moved before the invoice was known (<see cref="Money"/>), counted under no service until then.</param>
internal sealed record Invoice(
    string Commune,
    string Subject,
    string Service = "",
    string Period = "",
    long Issued = 0,
    long Reduced = 0,
    bool Cancelled = false,
    long Collected = 0,
    string[]? Early = null)
{
    /// <summary>What is owed in the end.</summary>
    [JsonIgnore]
    public long Due => Cancelled ? 0 : Math.Max(0, Issued - Reduced);

    /// <summary>What is still owed.</summary>
    [JsonIgnore]
    public long Outstanding => Math.Max(0, Due - Collected);

    /// <summary>What was paid beyond what is owed.</summary>
    [JsonIgnore]
    public long Overpaid => Period.Length == 0 ? 0 : Math.Max(0, Collected - Due);
}

/// <summary>Money that moved.</summary>
/// <param name="Kind">Which way: one of the kinds of <see cref="MoneyMovement"/>.</param>
/// <param name="Period">Month, <c>YYYY-MM</c>.</param>
/// <param name="Amount">Euro cents.</param>
internal readonly record struct Money(string Kind, string Period, long Amount)
{
    public static Money Parse(string text)
    {
        var parts = text.Split(' ');
        return new Money(parts[0], parts[1], long.Parse(parts[2], CultureInfo.InvariantCulture));
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Kind} {Period} {Amount}");
}

/// <summary>A collection or refund already counted: its key, so that it is not counted twice.</summary>
internal sealed record MoneyMovement(string Commune, string Subject, string Kind);

/// <summary>Money by commune, service and month, in euro cents.</summary>
/// <param name="Commune">The commune.</param>
/// <param name="Service">What is billed; empty when unknown.</param>
/// <param name="Period">Month, <c>YYYY-MM</c>.</param>
/// <param name="Issued">Issued in the month.</param>
/// <param name="Reduced">Reduced or cancelled, of the invoices issued in the month.</param>
/// <param name="Collected">Collected in the month.</param>
/// <param name="Refunded">Refunded in the month.</param>
/// <param name="Outstanding">Still owed, as of now, of the invoices issued in the month.</param>
/// <param name="Overpaid">Paid twice or too much, as of now, on the invoices issued in the month.</param>
/// <param name="PaidOnline">Accepted by the online payment page in the month; the money counts as collected only once the Trésor says so.</param>
internal sealed record Amounts(
    string Commune, string Service, string Period,
    long Issued = 0, long Reduced = 0, long Collected = 0, long Refunded = 0, long Outstanding = 0, long Overpaid = 0, long PaidOnline = 0);

/// <summary>
/// Payments: issued, collected and outstanding by commune, service and month. A collection or refund said again (same
/// subject) counts once; an invoice said again counts as last said.
/// </summary>
internal sealed class PaymentsProjection() : ConsolidatedProjection(
    ProjectionName, Catalogue.All.Where(type => type.Domain == "payments"), Invoices.Name, Movements.Name, Summary.Name)
{
    public const string ProjectionName = "payments";

    private const string Collection = "collection";
    private const string Refund = "refund";
    private const string Online = "online";

    public static RowTable<Invoice> Invoices { get; } = new("payments.invoice", keyLength: 2);

    public static RowTable<MoneyMovement> Movements { get; } = new("payments.movement", keyLength: 3);

    public static RowTable<Amounts> Summary { get; } = new("payments.summary", keyLength: 3);

    protected override async Task ProjectAsync(Page page, CancellationToken cancellation)
    {
        var changes = new Changes(
            (await Invoices.LoadAsync(page, [.. page.Events.Select(InvoiceOf).OfType<Invoice>().Distinct()], cancellation)).ToDictionary(Key),
            [.. await Movements.LoadAsync(page, [.. page.Events.Select(MovementOf).OfType<MoneyMovement>().Distinct()], cancellation)]);
        foreach (var stored in page.Events) changes.Apply(stored);
        Invoices.Save(page, changes.ChangedInvoices);
        Movements.Save(page, changes.NewMovements);
        Summary.Add(page, changes.Figures);
    }

    private static Invoice Key(Invoice invoice) => new(invoice.Commune, invoice.Subject);

    // The key of the invoice that an event is about; null when it is about none.
    private static Invoice? InvoiceOf(StoredEvent stored)
    {
        var (commune, subject) = (stored.Commune, stored.Subject);
        var invoice = stored.Data switch
        {
            InvoiceIssued or InvoiceReduced or InvoiceCancelled => subject,
            PaymentCollected collected => collected.Invoice,
            PaymentRefunded refunded => refunded.Invoice,
            OnlinePaymentAnswered answered => answered.Invoice,
            _ => null,
        };
        return invoice is null ? null : new Invoice(commune, invoice);
    }

    private static MoneyMovement? MovementOf(StoredEvent stored)
    {
        var (commune, subject) = (stored.Commune, stored.Subject);
        return stored.Data switch
        {
            PaymentCollected => new(commune, subject, Collection),
            PaymentRefunded => new(commune, subject, Refund),
            OnlinePaymentAnswered { Outcome: OnlinePaymentOutcome.CardPaid or OnlinePaymentOutcome.DirectDebitPaid } => new(commune, subject, Online),
            _ => null,
        };
    }

    /// <summary>A page of events being decided: what was known before, and what changes.</summary>
    internal sealed class Changes(Dictionary<Invoice, Invoice> invoices, HashSet<MoneyMovement> counted)
    {
        private readonly HashSet<Invoice> _changed = [];
        private readonly List<MoneyMovement> _new = [];
        private readonly Dictionary<(string Commune, string Service, string Period), Amounts> _figures = [];

        public IReadOnlyCollection<Invoice> ChangedInvoices => [.. _changed.Select(key => invoices[key])];

        public IReadOnlyCollection<MoneyMovement> NewMovements => _new;

        public IReadOnlyCollection<Amounts> Figures => _figures.Values;

        /// <summary>Takes an event into the invoices and the figures.</summary>
        public void Apply(StoredEvent stored)
        {
            if (MovementOf(stored) is { } movement)
            {
                if (!counted.Add(movement)) return;
                _new.Add(movement);
            }

            var key = InvoiceOf(stored);
            var invoice = key is null ? null : invoices.GetValueOrDefault(key, key);
            var commune = stored.Commune;
            switch (stored.Data)
            {
                case InvoiceIssued said:
                    var service = said.Service.ToString();
                    foreach (var early in (invoice!.Early ?? []).Select(Money.Parse))
                    {
                        Add(commune, "", early with { Amount = -early.Amount });
                        Add(commune, service, early);
                    }

                    Replace(invoice, invoice with { Service = service, Period = Month(said.IssuedOn), Issued = said.Amount.Value, Early = null });
                    break;
                case InvoiceReduced said:
                    Replace(invoice!, invoice! with { Reduced = invoice.Reduced + said.Amount.Value });
                    break;
                case InvoiceCancelled:
                    Replace(invoice!, invoice! with { Cancelled = true });
                    break;
                case PaymentCollected said:
                    Move(commune, invoice, said.Service, new Money(Collection, Month(said.CollectedOn), said.Amount.Value), said.Amount.Value);
                    break;
                case PaymentRefunded said:
                    Move(commune, invoice, said.Service, new Money(Refund, Month(said.RefundedOn), said.Amount.Value), -said.Amount.Value);
                    break;
                case OnlinePaymentAnswered { Outcome: OnlinePaymentOutcome.CardPaid or OnlinePaymentOutcome.DirectDebitPaid } said:
                    Move(commune, invoice, null, new Money(Online, Month(DateOnly.FromDateTime(said.AnsweredAt.Date)), said.Amount.Value), 0);
                    break;
            }
        }

        private static string Month(DateOnly date) => PartialDate.Of(date).Period[..7];

        // Counts money under the invoice's service, else the one that the event names, else none until the invoice is known.
        private void Move(string commune, Invoice? invoice, Slug? service, Money money, long collected)
        {
            var counted = invoice is { Service.Length: > 0 } ? invoice.Service : service?.ToString() ?? "";
            Add(commune, counted, money);
            if (invoice is null) return;
            string[]? early = counted.Length == 0 ? [.. invoice.Early ?? [], money.ToString()] : invoice.Early;
            Replace(invoice, invoice with { Collected = invoice.Collected + collected, Early = early });
        }

        private void Replace(Invoice before, Invoice after)
        {
            invoices[Key(after)] = after;
            _changed.Add(Key(after));
            Count(before, -1);
            Count(after, +1);
        }

        private void Count(Invoice invoice, int sign)
        {
            // Until the invoice itself is known, nobody knows which month and service it belongs to.
            if (invoice.Period.Length == 0) return;
            Add(invoice.Commune, invoice.Service, invoice.Period, amounts => amounts with
            {
                Issued = amounts.Issued + (sign * invoice.Issued),
                Reduced = amounts.Reduced + (sign * (invoice.Issued - invoice.Due)),
                Outstanding = amounts.Outstanding + (sign * invoice.Outstanding),
                Overpaid = amounts.Overpaid + (sign * invoice.Overpaid),
            });
        }

        private void Add(string commune, string service, Money money) => Add(commune, service, money.Period, amounts => money.Kind switch
        {
            Collection => amounts with { Collected = amounts.Collected + money.Amount },
            Refund => amounts with { Refunded = amounts.Refunded + money.Amount },
            _ => amounts with { PaidOnline = amounts.PaidOnline + money.Amount },
        });

        private void Add(string commune, string service, string period, Func<Amounts, Amounts> change)
        {
            var key = (commune, service, period);
            _figures[key] = change(_figures.GetValueOrDefault(key) ?? new Amounts(commune, service, period));
        }
    }
}
