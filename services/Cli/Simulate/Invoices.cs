using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Payments;

namespace Intercommunalite.Cli.Simulate;

/// <summary>Canteen and after-school care: invoiced by the commune of the school at the end of each month of school.</summary>
internal sealed class Invoices(SchoolOffice schools)
{
    internal static readonly Slug Canteen = Slug.Parse("canteen");
    internal static readonly Slug AfterSchoolCare = Slug.Parse("after-school-care");

    public void Work(DateOnly day, Agenda agenda)
    {
        if (!SchoolCalendar.IsBillingDay(day)) return;
        var present = schools.Roll.Where(pupil => WasPresent(pupil, day)).ToList();
        var bills = present.Where(pupil => pupil.EatsAtTheCanteen).Select(pupil => (pupil, Canteen))
            .Concat(present.Where(pupil => pupil.StaysAfterSchool).Select(pupil => (pupil, AfterSchoolCare))).ToList();
        for (var i = 0; i < bills.Count; i++)
        {
            var (pupil, service) = bills[i];
            var dice = pupil.Key.With(service.ToString()).With(day.DayNumber).Dice();
            var price = Price(pupil.Key.With("means").Dice(), service);
            var invoice = Issue(service, pupil.Responsible(ResidenceOn(pupil, day)), price, day, dice);
            // One after the other, from nine to five.
            var issued = FrenchTime.At(day, 32_400 + (int)(28_800L * i / bills.Count));
            new Claim($"{day.Year}/{day.Month:D2}/{i + 1:D6}", invoice, dice, agenda).Follow(issued);
        }
    }

    /// <summary>An invoice for some days of a month.</summary>
    /// <param name="service">What is billed.</param>
    /// <param name="debtor">Who owes.</param>
    /// <param name="price">Cents for a day.</param>
    /// <param name="day">Date of issue.</param>
    /// <param name="dice">Draws the days.</param>
    public static InvoiceIssued Issue(Slug service, Person debtor, int price, DateOnly day, Dice dice) =>
        new(service, new Cents(price * dice.Between(6, 16)), day, day.AddDays(30)) { Personal = new(debtor) };

    /// <summary>Cents for a day, by the family's means.</summary>
    public static int Price(Dice dice, Slug service) => service == Canteen ? dice.Between(100, 520) : dice.Between(80, 300);

    private static bool WasPresent(Pupil pupil, DateOnly monthEnd) =>
        DayOf(pupil.EnrolledAt) < new DateOnly(monthEnd.Year, monthEnd.Month, 20) && (pupil.LeftAt is not { } left || DayOf(left) > monthEnd);

    private static Contracts.Territories.Commune ResidenceOn(Pupil pupil, DateOnly day) =>
        pupil.MovesTo is { } moved && DayOf(pupil.ChangedAt!.Value) <= day ? moved : pupil.Residence;

    private static DateOnly DayOf(DateTimeOffset time) => DateOnly.FromDateTime(time.Date);
}
