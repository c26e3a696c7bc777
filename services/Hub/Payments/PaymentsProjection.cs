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
/// <param name="Moved">Sums of money that moved for it (<see cref="Money"/>), to be counted anew when its service becomes known or changes.</param>
internal sealed record Invoice(
    string Commune,
    string Subject,
    string Service = "",
    string Period = "",
    long Issued = 0,
    long Reduced = 0,
    bool Cancelled = false,
    long Collected = 0,
    string[]? Moved = null)
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
/// <param name="Service">What it is for by its own event; empty when that says nothing. The invoice's service goes before.</param>
internal readonly record struct Money(string Kind, string Period, long Amount, string Service)
{
    public static Money Parse(string text)
    {
        var parts = text.Split(' ');
        return new Money(parts[0], parts[1], long.Parse(parts[2], CultureInfo.InvariantCulture), parts[3]);
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Kind} {Period} {Amount} {Service}");
}

/// <summary>A collection, refund or online payment as it counts: as last said.</summary>
/// <param name="Commune">The commune.</param>
/// <param name="Subject">Its own key.</param>
/// <param name="Kind">Which way the money moved.</param>
/// <param name="Invoice">Subject of the invoice that it is for, or null.</param>
/// <param name="Money">The <see cref="Payments.Money"/>.</param>
internal sealed record MoneyMovement(string Commune, string Subject, string Kind, string? Invoice = null, string Money = "");

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
/// Payments: issued, collected and outstanding by commune, service and month. Invoices, collections and refunds said again (same
/// subject) count once, as last said.
/// </summary>
internal sealed class PaymentsProjection() : ConsolidatedProjection(
    ProjectionName, Catalogue.All.Where(type => type.Domain == "payments"), Invoices, Movements, Summary)
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
        var movements = await Movements.LoadAsync(page, [.. page.Events.Select(MovementOf).OfType<MoneyMovement>().Select(Key).Distinct()], cancellation);
        // A movement said again may have been for another invoice before.
        var keys = page.Events.Select(InvoiceOf).Concat(movements.Select(InvoiceOf)).OfType<Invoice>().Distinct();
        var changes = new Changes((await Invoices.LoadAsync(page, [.. keys], cancellation)).ToDictionary(Key), movements.ToDictionary(Key));
        foreach (var stored in page.Events) changes.Apply(stored);
        Invoices.Save(page, changes.ChangedInvoices);
        Movements.Save(page, changes.ChangedMovements);
        Summary.Add(page, changes.Figures);
    }

    private static Invoice Key(Invoice invoice) => new(invoice.Commune, invoice.Subject);

    private static MoneyMovement Key(MoneyMovement movement) => new(movement.Commune, movement.Subject, movement.Kind);

    private static Invoice? InvoiceOf(MoneyMovement movement) => movement.Invoice is { } invoice ? new Invoice(movement.Commune, invoice) : null;

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
        return stored.Data switch
        {
            PaymentCollected said => Of(Collection, said.Invoice, said.CollectedOn, said.Amount, said.Service),
            PaymentRefunded said => Of(Refund, said.Invoice, said.RefundedOn, said.Amount, said.Service),
            OnlinePaymentAnswered { Outcome: OnlinePaymentOutcome.CardPaid or OnlinePaymentOutcome.DirectDebitPaid } said =>
                Of(Online, said.Invoice, DateOnly.FromDateTime(said.AnsweredAt.Date), said.Amount, null),
            _ => null,
        };
        MoneyMovement Of(string kind, string? invoice, DateOnly on, Cents amount, Slug? service) =>
            new(stored.Commune, stored.Subject, kind, invoice, new Money(kind, Month(on), amount.Value, service?.ToString() ?? "").ToString());
    }

    private static string Month(DateOnly date) => PartialDate.Of(date).Period[..7];

    /// <summary>A page of events being decided: what was known before, and what changes.</summary>
    internal sealed class Changes(Dictionary<Invoice, Invoice> invoices, Dictionary<MoneyMovement, MoneyMovement> movements)
    {
        private readonly HashSet<Invoice> _changed = [];
        private readonly HashSet<MoneyMovement> _changedMovements = [];
        private readonly Dictionary<(string Commune, string Service, string Period), Amounts> _figures = [];

        public IReadOnlyCollection<Invoice> ChangedInvoices => [.. _changed.Select(key => invoices[key])];

        public IReadOnlyCollection<MoneyMovement> ChangedMovements => [.. _changedMovements.Select(key => movements[key])];

        public IReadOnlyCollection<Amounts> Figures => _figures.Values;

        /// <summary>Takes an event into the invoices and the figures.</summary>
        public void Apply(StoredEvent stored)
        {
            if (MovementOf(stored) is { } movement)
            {
                Apply(movement);
                return;
            }

            if (InvoiceOf(stored) is not { } key) return;
            var invoice = invoices.GetValueOrDefault(key, key);
            switch (stored.Data)
            {
                case InvoiceIssued said:
                    var issued = invoice with { Service = said.Service.ToString(), Period = Month(said.IssuedOn), Issued = said.Amount.Value };
                    foreach (var money in (invoice.Moved ?? []).Select(Money.Parse))
                    {
                        Count(invoice, money, -1);
                        Count(issued, money, +1);
                    }

                    Replace(invoice, issued);
                    break;
                case InvoiceReduced said:
                    Replace(invoice, invoice with { Reduced = invoice.Reduced + said.Amount.Value });
                    break;
                case InvoiceCancelled:
                    Replace(invoice, invoice with { Cancelled = true });
                    break;
            }
        }

        private void Apply(MoneyMovement said)
        {
            if (movements.GetValueOrDefault(Key(said)) is { } before)
            {
                if (before == said) return;
                Move(before, -1);
            }

            Move(said, +1);
            movements[Key(said)] = said;
            _changedMovements.Add(Key(said));
        }

        private void Move(MoneyMovement movement, int sign)
        {
            var money = Money.Parse(movement.Money);
            if (InvoiceOf(movement) is not { } key)
            {
                Add(movement.Commune, money.Service, money, sign);
                return;
            }

            var invoice = invoices.GetValueOrDefault(key, key);
            Count(invoice, money, sign);
            var collected = money.Kind switch { Collection => money.Amount, Refund => -money.Amount, _ => 0 };
            Replace(invoice, invoice with { Collected = invoice.Collected + (sign * collected), Moved = Sum(invoice.Moved, money with { Amount = sign * money.Amount }) });
        }

        // One sum for each kind, month and service: an invoice may be paid in any number of parts.
        private static string[]? Sum(string[]? moved, Money money)
        {
            var sums = (moved ?? []).Select(Money.Parse).ToList();
            var same = sums.FindIndex(one => one with { Amount = 0 } == money with { Amount = 0 });
            if (same < 0) sums.Add(money);
            else sums[same] = money with { Amount = sums[same].Amount + money.Amount };
            sums.RemoveAll(one => one.Amount == 0);
            return sums.Count > 0 ? [.. sums.Select(one => one.ToString())] : null;
        }

        // Under the invoice's service; until that is known, under the one that the money's own event names, or none.
        private void Count(Invoice invoice, Money money, int sign) => Add(invoice.Commune, invoice.Service.Length > 0 ? invoice.Service : money.Service, money, sign);

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

        private void Add(string commune, string service, Money money, int sign) => Add(commune, service, money.Period, amounts => money.Kind switch
        {
            Collection => amounts with { Collected = amounts.Collected + (sign * money.Amount) },
            Refund => amounts with { Refunded = amounts.Refunded + (sign * money.Amount) },
            _ => amounts with { PaidOnline = amounts.PaidOnline + (sign * money.Amount) },
        });

        private void Add(string commune, string service, string period, Func<Amounts, Amounts> change)
        {
            var key = (commune, service, period);
            _figures[key] = change(_figures.GetValueOrDefault(key) ?? new Amounts(commune, service, period));
        }
    }
}
