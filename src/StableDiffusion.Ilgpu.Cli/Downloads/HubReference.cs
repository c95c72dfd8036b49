using System.Buffers;
using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>A repository of a model hub at a revision, or one file of it: <c>hf:owner/repo[@revision][:file]</c>.</summary>
/// <param name="Repository">Owner and name, <c>owner/repo</c>.</param>
/// <param name="Revision">A branch, tag or commit.</param>
/// <param name="File">A file's path in the repository; null for the model that the repository holds.</param>
internal sealed partial record HubReference(string Repository, string Revision = HubReference.DefaultRevision, string? File = null)
{
    public const string Prefix = "hf:";
    public const string DefaultRevision = "main";
    private static readonly SearchValues<char> UnsafeCharacters = SearchValues.Create("\\:*?\"<>|");
    private const string Form = "hf:OWNER/REPOSITORY[@REVISION][:FILE]";

    /// <summary>Reads the written form.</summary>
    /// <exception cref="StableDiffusionException">The text has another form.</exception>
    public static HubReference Parse(string text)
    {
        var match = Pattern().Match(text);
        var revision = match.Groups["revision"];
        var file = match.Groups["file"];
        var reference = match.Success
            ? new HubReference(
                match.Groups["repository"].Value, revision.Success ? revision.Value : DefaultRevision, file.Success ? file.Value : null)
            : null;
        return reference is not null && !reference.Repository.Contains("..", StringComparison.Ordinal)
            && IsSafePath(reference.Revision) && (reference.File is null || IsSafePath(reference.File))
            ? reference
            : throw new StableDiffusionException($"cannot read '{text}': the form is {Form}");
    }

    /// <summary>Whether a path that somebody else gave stays inside the folder that it is put into, on any system.</summary>
    public static bool IsSafePath(string path) =>
        path.Length is > 0 and < 1024
        && path.AsSpan().IndexOfAny(UnsafeCharacters) < 0
        && !path.Any(char.IsControl)
        && path.Split('/').All(part => part.Length > 0 && part[^1] is not ('.' or ' ') && part[0] != ' ');

    /// <summary>Whether a path names something outside of the folder that it is put into, on any system; no honest list has such paths.</summary>
    public static bool LeavesFolder(string path) =>
        path.Length == 0 || path[0] is '/' or '\\' || path.Split('/', '\\').Any(part => part is "." or "..") || path is [_, ':', '/' or '\\', ..];

    public override string ToString() =>
        Prefix + Repository + (Revision == DefaultRevision ? "" : "@" + Revision) + (File is null ? "" : ":" + File);

    [GeneratedRegex(@"^hf:(?<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?<revision>[^@:]+))?(:(?<file>.+))?$")]
    private static partial Regex Pattern();
}
