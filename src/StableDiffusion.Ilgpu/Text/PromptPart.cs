namespace StableDiffusion.Ilgpu.Text;

/// <summary>A piece of a prompt and how strongly it counts; 1 is plain text.</summary>
internal sealed record PromptPart(string Text, double Weight)
{
    /// <summary>The word that closes a chunk.</summary>
    public const string BreakWord = "BREAK";

    /// <summary>A boundary between chunks. In brackets its weight is another one, and it is ordinary text.</summary>
    public static PromptPart Break { get; } = new(BreakWord, -1);

    public bool IsBreak => this == Break;
}
