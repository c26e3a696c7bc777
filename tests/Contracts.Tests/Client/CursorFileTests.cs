using Intercommunalite.Contracts.Client;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.Contracts.Tests.Client;

public sealed class CursorFileTests : IDisposable
{
    private readonly string _path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());

    public void Dispose()
    {
        File.Delete(_path);
        File.Delete(_path + ".lock");
    }

    private static SubscribeRequest Asking(string agreement, params string[] types) => new() { Agreement = agreement, Filter = new() { Types_ = { types } } };

    private void Kept(SubscribeRequest request, string cursor)
    {
        using var file = CursorFile.Open(_path);
        file.GoOn(request);
        file.Keep(cursor);
    }

    [Fact]
    public void Given_a_cursor_of_a_filter_and_an_agreement_When_the_same_is_asked_for_in_another_order_Then_it_goes_on_there()
    {
        Kept(Asking("canteen", "b", "a"), "c7");

        using var file = CursorFile.Open(_path);
        var next = file.GoOn(Asking("canteen", "a", "b", "a"));

        Assert.Equal(("c7", "c7"), (file.Value, next.Cursor));
        Assert.Equal(["a", "b", "a"], next.Filter.Types_);
    }

    [Theory]
    [InlineData("canteen", "a", "b", "c")]
    [InlineData("canteen", "a")]
    [InlineData("canteen")]
    [InlineData("", "a", "b")]
    public void Given_a_cursor_of_a_filter_and_an_agreement_When_others_are_asked_for_Then_it_is_told_of_which_it_is_and_the_file_stays(string agreement, params string[] types)
    {
        Kept(Asking("canteen", "a", "b"), "c7");

        using (var file = CursorFile.Open(_path))
        {
            var error = Assert.Throws<IOException>(() => file.GoOn(Asking(agreement, types)));
            Assert.Contains("belongs to another filter or agreement", error.Message, StringComparison.Ordinal);
            Assert.Contains("\"types\": [ \"a\", \"b\" ]", error.Message, StringComparison.Ordinal);
            Assert.Contains("name another file", error.Message, StringComparison.Ordinal);
        }

        using var again = CursorFile.Open(_path);
        Assert.Equal("c7", again.GoOn(Asking("canteen", "a", "b")).Cursor);
    }

    [Fact]
    public void Given_a_file_with_a_cursor_alone_When_it_is_gone_on_with_Then_it_is_of_that_filter_from_then_on()
    {
        File.WriteAllText(_path, "c7\n");

        using (var file = CursorFile.Open(_path))
        {
            Assert.Equal("c7", file.GoOn(Asking("", "a")).Cursor);
            file.Keep("c8");
        }

        using var again = CursorFile.Open(_path);
        Assert.Throws<IOException>(() => again.GoOn(Asking("")));
    }

    [Fact]
    public void Given_a_file_of_something_else_Then_it_is_told()
    {
        File.WriteAllText(_path, "name;date\nx;y\n");

        Assert.Contains("is no file with a cursor", Assert.Throws<IOException>(() => CursorFile.Open(_path)).Message, StringComparison.Ordinal);
        Assert.Contains("is no file with a cursor", Assert.Throws<IOException>(() => CursorFile.Open(_path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Given_a_file_in_use_When_it_is_opened_again_Then_that_is_refused_until_it_is_free()
    {
        using (CursorFile.Open(_path))
            Assert.Contains("is used by another process", Assert.Throws<IOException>(() => CursorFile.Open(_path)).Message, StringComparison.Ordinal);

        CursorFile.Open(_path).Dispose();
    }

    [Fact]
    public async Task Given_cursors_that_come_at_once_When_no_other_follows_Then_the_last_is_on_the_disk_all_the_same()
    {
        using var file = CursorFile.Open(_path);
        for (var number = 1; number <= 1000; number++) file.Keep($"c{number}");

        await Eventually.Is(() => File.ReadAllText(_path), text => text == "c1000\n");
    }

    [Fact]
    public async Task Given_a_disk_that_fails_for_a_while_When_no_other_cursor_follows_Then_the_last_is_on_it_once_it_is_well()
    {
        using var file = CursorFile.Open(_path);
        file.Keep("c1");
        // In the way of what is written.
        var obstacle = Directory.CreateDirectory(_path + ".new");
        await Eventually.Is(() => Record.Exception(() => file.Keep("c2")), error => error is IOException or UnauthorizedAccessException);

        obstacle.Delete();

        await Eventually.Is(() => File.ReadAllText(_path), text => text == "c2\n");
    }

    [Fact]
    public void Given_a_message_without_a_cursor_Then_the_one_before_stays()
    {
        Kept(Asking(""), "c7");

        Kept(Asking(""), "");

        using var file = CursorFile.Open(_path);
        Assert.Equal("c7", file.Value);
    }

    [Fact]
    public async Task Given_a_folder_that_is_gone_When_cursors_come_Then_who_keeps_them_is_told_until_it_is_back()
    {
        var folder = Directory.CreateTempSubdirectory("cursor-file-");
        var file = CursorFile.Open(Path.Combine(folder.FullName, "cursor"));
        file.Keep("c1");
        folder.Delete(recursive: true);

        await Eventually.Is(() => Record.Exception(() => file.Keep(Path.GetRandomFileName())), error => error is IOException);

        folder.Create();
        file.Keep("c2");
        Assert.Equal("c2\n", File.ReadAllText(Path.Combine(folder.FullName, "cursor")));

        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Keep("c3"));
        folder.Delete(recursive: true);
    }
}
