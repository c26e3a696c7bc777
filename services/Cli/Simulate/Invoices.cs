using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Payments;

namespace Intercommunalite.Cli.Simulate;

/// <summary>
/// Canteen and after-school care: invoiced by the commune of the school at the end of each month of school, collected by the
/// Trésor in the weeks that follow.
/// </summary>
internal sealed class Invoices(SchoolOffice schools)
{
    private const double Cancelled = 0.015;
    private const double Reduced = 0.025;
    private const double PaidWhole = 0.92;
    private const double PaidInPart = 0.04;
    private const double PaidTwice = 0.005;
    private const double PaidOnline = 0.45;

    internal static readonly Slug Canteen = Slug.Parse("canteen");
    internal static readonly Slug AfterSchoolCare = Slug.Parse("after-school-care");

    public void Work(DateOnly day, Agenda agenda)
    {
        if (!SchoolCalendar.IsBillingDay(day)) return;
        var month = new DateOnly(day.Year, day.Month, 1);
        Pupil[] present = [.. schools.Roll.Where(pupil => DayOf(pupil.EnrolledAt) < month.AddDays(20) && (pupil.LeftAt is null || DayOf(pupil.LeftAt.Value) > day))];
        var bills = present.Where(pupil => pupil.EatsAtTheCanteen).Select(pupil => (pupil, Canteen))
            .Concat(present.Where(pupil => pupil.StaysAfterSchool).Select(pupil => (pupil, AfterSchoolCare))).ToArray();
        for (var i = 0; i < bills.Length; i++)
        {
            var (pupil, service) = bills[i];
            var dice = pupil.Key.With(service.ToString()).With(day.DayNumber).Dice();
            var issued = FrenchTime.At(day, 32_400 + (int)(28_800L * i / bills.Length));
            Follow($"{day.Year}/{day.Month:D2}/{i + 1:D6}", Issue(pupil, service, day, dice), issued, dice, agenda);
        }
    }

    /// <summary>An invoice to anybody, for days at a price that depends on the family's means.</summary>
    public static InvoiceIssued Issue(Slug service, Person debtor, int price, DateOnly day, Dice dice) =>
        new(service, new Cents(price * dice.Between(6, 16)), day, day.AddDays(30)) { Personal = new(debtor) };

    private static InvoiceIssued Issue(Pupil pupil, Slug service, DateOnly day, Dice dice)
    {
        var residence = pupil.MovesTo is { } moved && DayOf(pupil.ChangedAt!.Value) <= day ? moved : pupil.Residence;
        return Issue(service, pupil.Responsible(residence), Price(pupil.Key.With("means").Dice(), service), day, dice);
    }

    internal static int Price(Dice dice, Slug service) => service == Canteen ? dice.Between(100, 520) : dice.Between(80, 300);

    private static void Follow(string number, InvoiceIssued invoice, DateTimeOffset issued, Dice dice, Agenda agenda)
    {
        var subject = $"invoice/{number}";
        agenda.Add(issued, subject, invoice);
        var owed = invoice.Amount.Value;
        switch (dice.Unit())
        {
            case < Cancelled:
                var (cancelled, cancelledOn) = Later(invoice.IssuedOn, 3, 25, dice);
                agenda.Add(cancelled, subject, new InvoiceCancelled(cancelledOn) { Personal = invoice.Personal });
                return;
            case < Cancelled + Reduced:
                var (reduced, reducedOn) = Later(invoice.IssuedOn, 2, 8, dice);
                var reduction = Math.Max(1, owed * dice.Between(10, 50) / 100);
                agenda.Add(reduced, subject, new InvoiceReduced(new Cents(reduction), reducedOn) { Personal = invoice.Personal });
                Collect(number, 1, subject, owed - reduction, Later(reducedOn, 3, 34, dice), invoice, dice, agenda);
                return;
        }

        switch (dice.Unit())
        {
            case < PaidWhole:
                var paid = Later(invoice.IssuedOn, 3, 43, dice);
                Collect(number, 1, subject, owed, paid, invoice, dice, agenda);
                if (dice.Chance(PaidTwice)) PayTwice(number, subject, owed, paid.Day, invoice, dice, agenda);
                break;
            case < PaidWhole + PaidInPart:
                var first = Math.Max(1, owed * dice.Between(30, 70) / 100);
                var firstPaid = Later(invoice.IssuedOn, 5, 43, dice);
                Collect(number, 1, subject, first, firstPaid, invoice, dice, agenda);
                if (dice.Chance(0.5) && first < owed) Collect(number, 2, subject, owed - first, Later(firstPaid.Day, 10, 60, dice), invoice, dice, agenda);
                break;
            default:
                if (dice.Chance(0.2)) PayOnline(number, 1, subject, owed, invoice.IssuedOn.AddDays(dice.Between(2, 30)), OnlinePaymentOutcome.Abandoned, dice, agenda);
                break;
        }
    }

    /// <summary>Money for an invoice; a part of it comes by the online payment page, which answers a day or two before.</summary>
    private static void Collect(string number, int rank, string invoice, long amount, (DateTimeOffset Time, DateOnly Day) at, InvoiceIssued issued, Dice dice, Agenda agenda)
    {
        if (dice.Chance(PaidOnline))
        {
            var outcome = dice.Chance(0.85) ? OnlinePaymentOutcome.CardPaid : OnlinePaymentOutcome.DirectDebitPaid;
            var day = at.Day.AddDays(-dice.Between(1, 2));
            if (dice.Chance(0.08)) PayOnline(number, (10 * rank) + 1, invoice, amount, day, dice.Chance(0.6) ? OnlinePaymentOutcome.Abandoned : OnlinePaymentOutcome.Refused, dice, agenda, 21_600);
            PayOnline(number, 10 * rank, invoice, amount, day, outcome, dice, agenda, 54_000);
        }

        agenda.Add(at.Time, $"collection/{number}/{rank}", new PaymentCollected(new Cents(amount), at.Day, invoice) { Personal = issued.Personal });
    }

    // By card and by transfer; most notice it and have it back.
    private static void PayTwice(string number, string invoice, long amount, DateOnly paid, InvoiceIssued issued, Dice dice, Agenda agenda)
    {
        var (again, on) = Later(paid, 1, 10, dice);
        agenda.Add(again, $"collection/{number}/2", new PaymentCollected(new Cents(amount), on, invoice) { Personal = issued.Personal });
        if (!dice.Chance(0.6)) return;
        var (refunded, refundedOn) = Later(on, 10, 30, dice);
        agenda.Add(refunded, $"refund/{number}/1", new PaymentRefunded(new Cents(amount), refundedOn, invoice) { Personal = issued.Personal });
    }

    private static void PayOnline(
        string number, int rank, string invoice, long amount, DateOnly day, OnlinePaymentOutcome outcome, Dice dice, Agenda agenda, int fromSecond = 54_000)
    {
        var time = FrenchTime.At(day, fromSecond + dice.Below(28_000));
        agenda.Add(time, $"online-payment/{number}/{rank}", new OnlinePaymentAnswered(invoice, new Cents(amount), time, outcome) { Personal = new(People.Email(dice)) });
    }

    private static (DateTimeOffset Time, DateOnly Day) Later(DateOnly day, int least, int most, Dice dice)
    {
        var later = SchoolCalendar.WeekdayFrom(day.AddDays(dice.Between(least, most)));
        return (FrenchTime.AtWork(later, dice), later);
    }

    private static DateOnly DayOf(DateTimeOffset time) => DateOnly.FromDateTime(time.Date);
}
