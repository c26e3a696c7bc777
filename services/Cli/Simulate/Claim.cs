using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Payments;

namespace Intercommunalite.Cli.Simulate;

/// <summary>What becomes of an invoice: reduced, cancelled, paid whole or in part, twice or not at all.</summary>
/// <param name="number">Number of the invoice, which the keys of all that follows share.</param>
/// <param name="invoice">The invoice.</param>
/// <param name="dice">Draws its fate.</param>
/// <param name="agenda">Takes its events.</param>
internal sealed class Claim(string number, InvoiceIssued invoice, Dice dice, Agenda agenda)
{
    private const double Cancelled = 0.015;
    private const double Reduced = 0.025;
    private const double PaidWhole = 0.92;
    private const double PaidInPart = 0.04;
    private const double PaidTwice = 0.005;
    private const double PaidOnline = 0.45;

    private const int Morning = 21_600;
    private const int Afternoon = 54_000;

    private readonly string _subject = $"invoice/{number}";
    private readonly long _amount = invoice.Amount.Value;

    public void Follow(DateTimeOffset issued)
    {
        agenda.Add(issued, _subject, invoice);
        switch (dice.Unit())
        {
            case < Cancelled:
                Cancel();
                break;
            case < Cancelled + Reduced:
                Reduce();
                break;
            default:
                Pay();
                break;
        }
    }

    private void Cancel()
    {
        var (time, day) = Later(invoice.IssuedOn, 3, 25);
        agenda.Add(time, _subject, new InvoiceCancelled(day) { Personal = invoice.Personal });
    }

    private void Reduce()
    {
        var (time, day) = Later(invoice.IssuedOn, 2, 8);
        var reduction = Math.Max(1, _amount * dice.Between(10, 50) / 100);
        agenda.Add(time, _subject, new InvoiceReduced(new Cents(reduction), day) { Personal = invoice.Personal });
        Collect(1, _amount - reduction, Later(day, 3, 34));
    }

    private void Pay()
    {
        switch (dice.Unit())
        {
            case < PaidWhole:
                var paid = Later(invoice.IssuedOn, 3, 43);
                Collect(1, _amount, paid);
                if (dice.Chance(PaidTwice)) PayTwice(paid.Day);
                break;
            case < PaidWhole + PaidInPart:
                var part = Math.Max(1, _amount * dice.Between(30, 70) / 100);
                var first = Later(invoice.IssuedOn, 5, 43);
                Collect(1, part, first);
                if (dice.Chance(0.5)) Collect(2, _amount - part, Later(first.Day, 10, 60));
                break;
            default:
                if (dice.Chance(0.2))
                    AnswerOnline(1, _amount, invoice.IssuedOn.AddDays(dice.Between(2, 30)), Morning, OnlinePaymentOutcome.Abandoned);
                break;
        }
    }

    /// <summary>Money comes in; where by the online payment page, that answers a day or two before.</summary>
    private void Collect(int rank, long amount, (DateTimeOffset Time, DateOnly Day) at)
    {
        if (dice.Chance(PaidOnline))
        {
            var day = at.Day.AddDays(-dice.Between(1, 2));
            if (dice.Chance(0.08))
                AnswerOnline((10 * rank) + 1, amount, day, Morning, dice.Chance(0.6) ? OnlinePaymentOutcome.Abandoned : OnlinePaymentOutcome.Refused);
            var paid = dice.Chance(0.85) ? OnlinePaymentOutcome.CardPaid : OnlinePaymentOutcome.DirectDebitPaid;
            AnswerOnline(10 * rank, amount, day, Afternoon, paid);
        }

        var collected = new PaymentCollected(new Cents(amount), at.Day, _subject) { Personal = invoice.Personal };
        agenda.Add(at.Time, $"collection/{number}/{rank}", collected);
    }

    // By card and by transfer; most notice it and have it back.
    private void PayTwice(DateOnly paid)
    {
        var (again, day) = Later(paid, 1, 10);
        agenda.Add(again, $"collection/{number}/2", new PaymentCollected(invoice.Amount, day, _subject) { Personal = invoice.Personal });
        if (!dice.Chance(0.6)) return;
        var (refunded, refundedOn) = Later(day, 10, 30);
        agenda.Add(refunded, $"refund/{number}/1", new PaymentRefunded(invoice.Amount, refundedOn, _subject) { Personal = invoice.Personal });
    }

    private void AnswerOnline(int rank, long amount, DateOnly day, int from, OnlinePaymentOutcome outcome)
    {
        var time = FrenchTime.At(day, from + dice.Below(28_000));
        var answered = new OnlinePaymentAnswered(_subject, new Cents(amount), time, outcome) { Personal = new(People.Email(dice)) };
        agenda.Add(time, $"online-payment/{number}/{rank}", answered);
    }

    private (DateTimeOffset Time, DateOnly Day) Later(DateOnly day, int least, int most)
    {
        var later = SchoolCalendar.WeekdayFrom(day.AddDays(dice.Between(least, most)));
        return (FrenchTime.AtWork(later, dice), later);
    }
}
