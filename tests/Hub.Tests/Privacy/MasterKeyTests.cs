using System.Security.Cryptography;
using Intercommunalite.Hub.Privacy;
using Microsoft.Extensions.Configuration;
using Xunit;

namespace Intercommunalite.Hub.Tests.Privacy;

[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class MasterKeyTests
{
    private static readonly string s_old = Convert.ToBase64String(Enumerable.Repeat((byte)1, 32).ToArray());
    private static readonly string s_new = Convert.ToBase64String(Enumerable.Repeat((byte)2, 32).ToArray());

    [Fact]
    public void Given_a_wrapped_key_Then_it_is_had_again_and_nothing_else()
    {
        var master = Of(s_old);
        var key = Sealed.NewKey();
        var wrapped = master.Wrap(key);
        Assert.Equal(key, master.Unwrap(wrapped));
        Assert.NotEqual(wrapped, master.Wrap(key));
        Assert.All(Enumerable.Range(0, wrapped.Length), at =>
        {
            var changed = wrapped.ToArray();
            changed[at] ^= 1;
            Assert.ThrowsAny<CryptographicException>(() => master.Unwrap(changed));
        });
        Assert.Throws<CryptographicException>(() => master.Unwrap([]));
    }

    [Fact]
    public void Given_a_new_line_before_the_old_one_When_rotated_Then_both_unwrap_and_the_old_one_can_go_afterwards()
    {
        var key = Sealed.NewKey();
        var before = Of(s_old).Wrap(key);
        var both = Of($"{s_new}\n{s_old}\n");
        Assert.Equal(key, both.Unwrap(before));
        Assert.False(both.IsNewest(before));
        var after = both.Wrap(key);
        Assert.True(both.IsNewest(after));
        Assert.Equal(key, Of(s_new).Unwrap(after));
        Assert.Contains("not among those given", Assert.Throws<CryptographicException>(() => Of(s_new).Unwrap(before)).Message, StringComparison.Ordinal);
        Assert.Equal(2, both.Derive("x", 32).Count);
        Assert.Equal(both.Derive("x", 32)[0], Of(s_new).Derive("x", 32)[0]);
        Assert.NotEqual(both.Derive("x", 32)[0], both.Derive("y", 32)[0]);
    }

    [Theory]
    [InlineData("")]
    [InlineData("AAAA")]
    [InlineData("not base64 at all, though it is as long")]
    public void Given_no_key_that_can_be_used_Then_it_says_what_to_do_and_nothing_of_what_was_given(string text)
    {
        var message = Assert.Throws<InvalidOperationException>(() => Of(text)).Message;
        Assert.Contains("head -c32 /dev/urandom | base64", message, StringComparison.Ordinal);
        if (text.Length > 0) Assert.DoesNotContain(text, message, StringComparison.Ordinal);
    }

    [Fact]
    public void Given_a_file_Then_it_is_read_and_one_that_everybody_may_read_is_remarked()
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, $"{s_new}\n{s_old}\n");
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            var master = Read(("Privacy:MasterKeyFile", path));
            Assert.Null(master.Warning);
            Assert.Equal([1, 2], master.Unwrap(Of(s_old).Wrap([1, 2])));
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.OtherRead);
            Assert.Contains("chmod", Read(("Privacy:MasterKeyFile", path)).Warning, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(path);
        }

        Assert.Throws<InvalidOperationException>(() => Read(("Privacy:MasterKeyFile", path)));
    }

    private static MasterKey Of(string text) => Read(("Privacy:MasterKey", text));

    private static MasterKey Read(params (string Key, string Value)[] settings) => MasterKey.Read(
        new ConfigurationBuilder().AddInMemoryCollection(settings.ToDictionary(setting => setting.Key, setting => (string?)setting.Value)).Build());
}
