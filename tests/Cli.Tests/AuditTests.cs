using Microsoft.AspNetCore.Builder;

namespace Intercommunalite.Cli.Tests;

public class AuditTests
{
    [Fact]
    public async Task Given_entries_When_they_are_listed_Then_each_is_told_with_its_details_and_its_subject_is_whole()
    {
        const string Subject = "35085/payments/invoice/213500850/12-00/2026/1234/5678/1/with-a-long-key-of-its-own";
        await using var hub = await FakeServer.StartAsync(app => app.MapGet("/api/v1/audit", () => new
        {
            items = new[]
            {
                new
                {
                    seq = 7,
                    at = "2026-11-24T09:30:00+01:00",
                    who = "administrator-0123456789abcdef",
                    act = "records.read",
                    subject = Subject,
                    why = (string?)null,
                    hash = "x",
                    details = new { source = "urn:insee:commune:35085", id = "one", agreement = (string?)null, rows = 3 },
                },
            },
        }));

        var list = await Command.RunAsync("access", "audit", "list", "--hub", hub.Address);

        Assert.Equal(0, list.ExitCode);
        Assert.Matches($"7 +2026-11-24 08:30:00Z +administrator-0123456789abcdef .*{Subject}", list.Out);
        // A column of words is broken between its words.
        var words = string.Join(' ', list.Out.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        foreach (var part in (string[])["Details", "source", "one,", "rows 3"]) Assert.Contains(part, words, StringComparison.Ordinal);
        Assert.DoesNotContain("agreement", list.Out, StringComparison.Ordinal);
    }
}
