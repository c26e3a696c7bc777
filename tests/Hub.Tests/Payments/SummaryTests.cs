using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Payments;
using Xunit;

namespace Intercommunalite.Hub.Tests.Payments;

public sealed class SummaryTests : IAsyncLifetime
{
    private static readonly Slug s_canteen = Slug.Parse("canteen");
    private static readonly DateOnly s_september = new(2026, 9, 30);
    private static readonly DateOnly s_october = new(2026, 10, 15);

    private readonly HubStore _hub = new();

    public Task InitializeAsync() => _hub.InitializeAsync();

    public Task DisposeAsync() => _hub.DisposeAsync();

    [Fact]
    public async Task Given_invoices_paid_in_part_twice_and_not_at_all_When_projected_and_rebuilt_Then_what_is_owed_is_right()
    {
        await _hub.ArriveAsync(new InvoiceIssued(s_canteen, new Cents(1000), s_september), "i/part");
        await _hub.ArriveAsync(new InvoiceIssued(s_canteen, new Cents(2000), s_september), "i/twice");
        await _hub.ArriveAsync(new InvoiceIssued(s_canteen, new Cents(4000), s_september), "i/cancelled");
        await _hub.ArriveAsync(new InvoiceIssued(s_canteen, new Cents(8000), s_october), "i/refunded");
        await _hub.ProjectAsync();
        await _hub.ArriveAsync(new InvoiceReduced(new Cents(100), s_october), "i/part");
        await _hub.ArriveAsync(new PaymentCollected(new Cents(400), s_october, "i/part"), "c/1");
        await _hub.ArriveAsync(new PaymentCollected(new Cents(400), s_october, "i/part"), "c/1");
        await _hub.ArriveAsync(new PaymentCollected(new Cents(2000), s_october, "i/twice"), "c/2");
        await _hub.ArriveAsync(new PaymentCollected(new Cents(2000), s_october, "i/twice"), "c/3");
        await _hub.ArriveAsync(new InvoiceCancelled(s_october), "i/cancelled");
        await _hub.ArriveAsync(new PaymentCollected(new Cents(8000), s_october, "i/refunded"), "c/4");
        await _hub.ArriveAsync(new PaymentRefunded(new Cents(3000), s_october, "i/refunded"), "r/1");
        await _hub.ArriveAsync(new PaymentCollected(new Cents(50), s_october, null, Slug.Parse("library")), "c/5");
        await _hub.ArriveAsync(new OnlinePaymentAnswered("i/part", new Cents(400), new(2026, 10, 14, 8, 0, 0, TimeSpan.FromHours(2)), OnlinePaymentOutcome.CardPaid), "o/1");
        await _hub.ArriveAsync(new OnlinePaymentAnswered("i/part", new Cents(400), new(2026, 10, 14, 8, 0, 0, TimeSpan.FromHours(2)), OnlinePaymentOutcome.Refused), "o/2");
        await _hub.ProjectAsync();

        // service, period: issued, reduced, collected, refunded, outstanding, overpaid, paid online
        string[] expected =
        [
            "canteen 2026-09 7000 4100 0 0 500 2000 0",
            "canteen 2026-10 8000 0 12400 3000 3000 0 400",
            "library 2026-10 0 0 50 0 0 0 0",
        ];
        Assert.Equal(expected, await FiguresAsync());

        await _hub.RebuildAsync("payments");
        Assert.Equal(expected, await FiguresAsync());
    }

    [Fact]
    public async Task Given_money_and_an_invoice_said_again_otherwise_When_projected_Then_they_count_once_as_last_said()
    {
        await _hub.ArriveAsync(new InvoiceIssued(s_canteen, new Cents(1000), s_september), "i/1");
        await _hub.ArriveAsync(new PaymentCollected(new Cents(400), s_september, "i/1"), "c/1");
        await _hub.ArriveAsync(new PaymentCollected(new Cents(50), s_september, null, Slug.Parse("library")), "c/2");
        await _hub.ArriveAsync(new PaymentRefunded(new Cents(10), s_september, "i/1"), "r/1");
        await _hub.ProjectAsync();

        await _hub.ArriveAsync(new PaymentCollected(new Cents(600), s_october, "i/1"), "c/1");
        await _hub.ArriveAsync(new PaymentCollected(new Cents(70), s_september, "i/2"), "c/2");
        await _hub.ArriveAsync(new PaymentRefunded(new Cents(20), s_september, "i/2"), "r/1");
        await _hub.ArriveAsync(new InvoiceIssued(Slug.Parse("library"), new Cents(900), s_september), "i/1");
        await _hub.ProjectAsync();

        string[] expected = [" 2026-09 0 0 70 20 0 0 0", "library 2026-09 900 0 0 0 300 0 0", "library 2026-10 0 0 600 0 0 0 0"];
        Assert.Equal(expected, (await FiguresAsync()).Where(row => !row.EndsWith(" 0 0 0 0 0 0 0", StringComparison.Ordinal)));
        await _hub.RebuildAsync("payments");
        Assert.Equal(expected, (await FiguresAsync()).Where(row => !row.EndsWith(" 0 0 0 0 0 0 0", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Given_money_for_an_invoice_not_known_yet_When_the_invoice_comes_Then_it_is_paid_and_the_money_has_its_service()
    {
        await _hub.ArriveAsync(new PaymentCollected(new Cents(600), s_october, "i/late"), "c/1");
        await _hub.ProjectAsync();
        Assert.Equal([" 2026-10 0 0 600 0 0 0 0"], await FiguresAsync());

        await _hub.ArriveAsync(new PaymentRefunded(new Cents(100), s_october, "i/late"), "r/1");
        await _hub.ArriveAsync(new InvoiceIssued(s_canteen, new Cents(1000), s_september), "i/late");
        await _hub.ProjectAsync();
        Assert.Equal([" 2026-10 0 0 0 0 0 0 0", "canteen 2026-09 1000 0 0 0 500 0 0", "canteen 2026-10 0 0 600 100 0 0 0"], await FiguresAsync());
    }

    private Task<IReadOnlyList<string>> FiguresAsync() => _hub.RowsAsync("""
        SELECT service, period, issued, reduced, collected, refunded, outstanding, overpaid, paid_online FROM payments.summary ORDER BY service, period
        """);
}
