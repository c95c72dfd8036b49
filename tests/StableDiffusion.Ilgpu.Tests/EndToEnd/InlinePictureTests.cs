using System.Text.RegularExpressions;
using Spectre.Console;
using StableDiffusion.Ilgpu.Cli;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>Pictures in terminals that take them.</summary>
public sealed partial class InlinePictureTests
{
    // As kitty's graphics protocol and iTerm2's page on inline images give them; 3000 bytes fit in one of kitty's parts, 3100 do not.
    private const string KittyStart = "\e_Ga=T,f=100,i=20220822,p=1,c=20,r=10,C=1,q=2,m=";

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3000, 1)]
    [InlineData(3072, 1)]
    [InlineData(3100, 2)]
    [InlineData(10000, 4)]
    public void Kitty_gets_a_file_in_parts(int length, int parts)
    {
        var png = Bytes(length);
        var sequence = InlinePicture.Sequence(InlineProtocol.Kitty, png, 20, 10);
        Assert.StartsWith($"{KittyStart}{(parts > 1 ? 1 : 0)};", sequence, StringComparison.Ordinal);
        var found = KittyPart().Matches(sequence);
        Assert.Equal(sequence, string.Concat(found.Select(m => m.Value)));
        Assert.Equal(parts, found.Count);
        Assert.All(found, part => Assert.InRange(part.Groups["data"].Length, 1, 4096));
        Assert.Equal(
            [.. Enumerable.Repeat("m=1", parts - 1), "m=0"], found.Select(m => m.Groups["keys"].Value.Split(',')[^1]));
        Assert.All(found.Skip(1), part => Assert.Equal(3, part.Groups["keys"].Length));
        Assert.Equal(png, Convert.FromBase64String(string.Concat(found.Select(m => m.Groups["data"].Value))));
    }

    [Fact]
    public void ITerm_gets_a_file_at_once()
    {
        var png = Bytes(10000);
        Assert.Equal(
            $"\e]1337;File=inline=1;size=10000;width=20;height=10;preserveAspectRatio=0:{Convert.ToBase64String(png)}\a",
            InlinePicture.Sequence(InlineProtocol.ITerm, png, 20, 10));
    }

    [Theory]
    [InlineData("Kitty", "TERM=xterm-kitty")]
    [InlineData("Kitty", "TERM=xterm-256color", "KITTY_WINDOW_ID=1")]
    [InlineData("Kitty", "TERM=xterm-ghostty", "TERM_PROGRAM=ghostty")]
    [InlineData("ITerm", "TERM=xterm-256color", "TERM_PROGRAM=iTerm.app")]
    [InlineData("ITerm", "TERM_PROGRAM=WezTerm")]
    [InlineData("None", "TERM=xterm-256color")]
    [InlineData("None", "TERM=xterm-256color", "TERM_PROGRAM=Apple_Terminal")]
    [InlineData("None", "TERM=tmux-256color", "TERM_PROGRAM=iTerm.app")]
    [InlineData("None", "TERM=screen", "KITTY_WINDOW_ID=1")]
    [InlineData("None", "TERM=xterm-kitty", "TMUX=/tmp/tmux-0/default,1,0")]
    [InlineData("None", "KITTY_WINDOW_ID=")]
    [InlineData("None")]
    public void Terminals_are_known_by_the_environment(string protocol, params string[] variables)
    {
        var environment = variables.Select(v => v.Split('=')).ToDictionary(v => v[0], v => v[1]);
        Assert.Equal(Enum.Parse<InlineProtocol>(protocol), InlinePicture.Find(environment.GetValueOrDefault));
    }

    /// <summary>A bar is drawn ten times a second; the picture above it only when it is new or was moved.</summary>
    [Fact]
    public void A_picture_is_sent_once_for_each_place()
    {
        using var output = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = AnsiSupport.Yes,
            Interactive = InteractionSupport.Yes,
            ColorSystem = ColorSystemSupport.TrueColor,
            Out = new AnsiConsoleOutput(output),
        });
        var picture = new KittyPicture(Bytes(100), 20, 3);
        var sequence = $"\e7\e[2A{InlinePicture.Sequence(InlineProtocol.Kitty, Bytes(100), 20, 3)}\e8";
        int Sent() => output.ToString().Split(sequence).Length - 1;
        console.Live(new Rows(picture, new Spectre.Console.Text("the bar"))).Start(live =>
        {
            live.Refresh();
            live.Refresh();
            Assert.Equal(1, Sent());

            // On the last of the lines that it takes, above the bar.
            var parts = output.ToString().Split(sequence);
            Assert.Equal(2, parts[0].Count(c => c == '\n'));
            Assert.StartsWith("\nthe bar", parts[1].TrimStart(' ').ReplaceLineEndings("\n"), StringComparison.Ordinal);
            picture.Move();
            live.Refresh();
            live.Refresh();
            Assert.Equal(2, Sent());
        });
    }

    [Fact]
    public void Nothing_is_sent_where_the_output_is_redirected()
    {
        using var folder = new TemporaryFolder();
        using var output = new StringWriter();
        var context = new CommandContext(output, output, Interactive: false, TestContext.Current.CancellationToken)
        {
            Environment = name => name == "TERM" ? "xterm-kitty" : null,
        };
        Assert.Equal(0, CommandLine.Run(["txt2img", "-p", "cat", "--steps", "3", "--preview", "1", "-o", folder["a.png"]], context));
        Assert.DoesNotContain('\e', output.ToString());
    }

    private static byte[] Bytes(int length) => [.. Enumerable.Range(0, length).Select(i => (byte)(i * 7))];

    [GeneratedRegex(@"\e_G(?<keys>[^;]*);(?<data>[A-Za-z0-9+/=]*)\e\\")]
    private static partial Regex KittyPart();
}
