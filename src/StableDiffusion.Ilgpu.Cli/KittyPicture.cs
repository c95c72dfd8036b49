using Spectre.Console.Rendering;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>
/// A picture above a bar in kitty. It is sent when its place is drawn for the first time; what is drawn there afterwards, blanks, lies under it.
/// </summary>
/// <param name="png">The picture.</param>
/// <param name="columns">Cells that it takes.</param>
/// <param name="lines">Lines that it takes.</param>
internal sealed class KittyPicture(byte[] png, int columns, int lines) : Renderable
{
    private bool isSent;

    /// <summary>Other lines have moved the place: the picture is sent anew.</summary>
    public void Move() => isSent = false;

    protected override IEnumerable<Segment> Render(RenderOptions options, int maxWidth)
    {
        // The lines first, so that the screen has scrolled as far as it must; then, from the last, back up to the first of them.
        for (var line = 1; line < lines; line++)
        {
            yield return Segment.LineBreak;
        }

        if (!isSent)
        {
            isSent = true;
            var up = lines > 1 ? $"\e[{lines - 1}A" : "";
            yield return Segment.Control($"\e7{up}{InlinePicture.Sequence(InlineProtocol.Kitty, png, columns, lines)}\e8");
        }

        yield return Segment.LineBreak;
    }
}
