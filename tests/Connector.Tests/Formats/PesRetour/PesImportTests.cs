using System.Text.Json;

namespace Intercommunalite.Connector.Tests.Formats.PesRetour;

public sealed class PesImportTests : IAsyncLifetime, IDisposable
{
    private static readonly Pes s_file = new()
    {
        Stated = """<NbrReco V="3"/>""",
        Collections = Pes.Collection("2026-04-01", "10", "77") + "\n" + Pes.Collection("2026-04-02", "MARTIN", "78"),
    };

    private readonly TemporaryFolder _data = new();
    private readonly ConnectorApp _app;

    public PesImportTests() => _app = ConnectorApp.Start(_data.FullPath, "35085,35238");

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync() => await _app.DisposeAsync();

    public void Dispose()
    {
        _app.Dispose();
        _data.Dispose();
    }

    [Fact]
    public async Task Given_a_file_When_it_is_posted_twice_Then_it_goes_to_its_commune_once()
    {
        var first = await _app.ImportAsync("/files/pes-retour", s_file.Text);
        var second = await _app.ImportAsync("/communes/35085/files/pes-retour", s_file.Text);

        Assert.Equal(("completed", 3, 2, 0, 1), Counts(first));
        Assert.Equal(("completed", 3, 0, 2, 1), Counts(second));
        Assert.Equal(
            ["invoice/213500853/315-00/2026/44/1449/1", "collection/213500853/315-00/2026/44/1449/1/77"],
            _app.Events("35085").Select(json => json.GetProperty("subject").GetString()));
        Assert.Equal(0, _app.Journal("35238").Last);
        // Names are in the journal, and nowhere else.
        foreach (var path in Directory.EnumerateFiles(_data.Combine("imports"), "*", SearchOption.AllDirectories))
            Assert.DoesNotContain("MARTIN", await File.ReadAllTextAsync(path), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_file_of_another_commune_or_of_nobody_When_it_is_posted_Then_it_is_refused_whole()
    {
        var other = await _app.ImportAsync("/communes/35238/files/pes-retour", s_file.Text);
        var nobody = await _app.ImportAsync("/files/pes-retour", (s_file with { IdColl = "243500733" }).Text);

        Assert.All([other, nobody], state => Assert.Equal(("refused", 0, 0, 0, 0), Counts(state)));
        Assert.Equal((0, 0), (_app.Journal("35085").Last, _app.Journal("35238").Last));
    }

    [Fact]
    public async Task Given_a_file_of_no_commune_When_it_is_posted_for_one_Then_it_goes_there()
    {
        var state = await _app.ImportAsync("/communes/35238/files/pes-retour", (s_file with { IdColl = "243500733" }).Text);

        Assert.Equal(("completed", 3, 2, 0, 1), Counts(state));
        Assert.Equal(2, _app.Journal("35238").Last);
    }

    private static (string? Status, int Lines, int Accepted, int Duplicates, int Rejected) Counts(JsonElement state) => (
        state.GetProperty("status").GetString(), state.GetProperty("linesRead").GetInt32(), state.GetProperty("accepted").GetInt32(),
        state.GetProperty("duplicates").GetInt32(), state.GetProperty("rejected").GetInt32());
}
