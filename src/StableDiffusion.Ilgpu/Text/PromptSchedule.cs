using System.Text;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// Prompts that change while a picture is made, by the grammar of AUTOMATIC1111's web UI:
/// <code>
/// [before:after:when]  [after:when]  [before::when]     before while step &lt;= when, then after
/// [a|b|…]                                               one after the other, a at step 1
/// </code>
/// Groups may be nested. A <c>when</c> with a decimal point is a share of the steps. A prompt that the grammar does not cover (a
/// <c>|</c> outside of a group, a backslash at the end) stays as it is at every step; brackets and colons that form no group are text.
/// </summary>
internal sealed class PromptSchedule
{
    private readonly string prompt;
    private readonly int steps;
    private readonly int stepsBefore;

    /// <summary>Editing and alternation by the place of their opening bracket.</summary>
    private readonly Dictionary<int, Group> groups = [];

    private PromptSchedule(string prompt, int steps, int stepsBefore) => (this.prompt, this.steps, this.stepsBefore) = (prompt, steps, stepsBefore);

    /// <param name="prompt">Any text.</param>
    /// <param name="steps">Number of steps, at least 1.</param>
    /// <param name="stepsBefore">
    /// Steps of a first pass, for the schedule of a second one: a <c>when</c> from 1.0 on, or above those steps, lies in the second one.
    /// </param>
    /// <returns>Texts by ascending last step, the last of which is <paramref name="steps"/>; neighbours may be equal.</returns>
    public static IReadOnlyList<ScheduledPrompt> Parse(string prompt, int steps, int stepsBefore = 0)
    {
        var schedule = new PromptSchedule(prompt, steps, stepsBefore);
        return !schedule.Read() || schedule.groups.Count == 0 ? [new ScheduledPrompt(steps, prompt)]
            : [.. schedule.LastSteps().Select(step => new ScheduledPrompt(step, schedule.At(step)))];
    }

    /// <summary>Finds the groups.</summary>
    /// <returns>False where the grammar does not cover the prompt.</returns>
    private bool Read()
    {
        // A group may hold only whole groups and text. So a bracket has at most one partner, and what goes wrong in a group goes wrong
        // in all around it: their brackets are text, which at the top level is allowed, but a | of theirs then is not.
        var open = new Stack<Group>();
        for (var i = 0; i < prompt.Length; i++)
        {
            switch (prompt[i])
            {
                case '\\' when i + 1 == prompt.Length || prompt[i + 1] == '\n':
                    return false;
                case '\\':
                    i++;
                    break;
                case '(' or '[':
                    open.Push(new Group(i, prompt[i] == '['));
                    break;
                case '|' when !(open.TryPeek(out var group) && group.IsSquare):
                    return false;
                case '|':
                    open.Peek().Bars.Add(i);
                    break;
                case ':' when open.TryPeek(out var group):
                    group.Colons.Add(i);
                    break;
                case ')' or ']' when open.TryPop(out var group):
                    group.Close = i;
                    if (group.IsSquare != (prompt[i] == ']'))
                    {
                        if (group.Bars.Count > 0 || open.Any(g => g.Bars.Count > 0))
                        {
                            return false;
                        }

                        open.Clear();
                    }
                    else if (!Accept(group))
                    {
                        if (group.Bars.Count > 0)
                        {
                            return false;
                        }

                        if (open.TryPeek(out var outer))
                        {
                            outer.IsBroken = true;
                        }
                    }

                    break;
            }
        }

        return open.All(g => g.Bars.Count == 0);
    }

    /// <summary>Whether a closed pair of brackets is a group of the grammar; keeps it if it depends on the step.</summary>
    private bool Accept(Group group)
    {
        if (group.IsBroken)
        {
            return false;
        }

        switch (group.IsSquare, group.Colons.Count, group.Bars.Count)
        {
            case (false, <= 1, _) or (true, 0, 0):
                return true;
            case (true, 0, > 0):
                groups.Add(group.Open, group);
                return true;
            case (true, 1 or 2, 0) when ScheduleNumber.Read(prompt.AsSpan(group.Colons[^1] + 1, group.Close - group.Colons[^1] - 1), steps, stepsBefore) is { } when:
                group.When = when;
                groups.Add(group.Open, group);
                return true;
            default:
                return false;
        }
    }

    private IEnumerable<int> LastSteps() => groups.Values.Any(g => g.Bars.Count > 0)
        ? Enumerable.Range(1, steps)
        : groups.Values.Select(g => g.When).Where(when => when >= 1).Append(steps).Distinct().Order();

    /// <summary>The text of a step. Groups nest to any depth, so there is no recursion.</summary>
    private string At(int step)
    {
        var text = new StringBuilder();
        var outer = new Stack<(int Position, int End)>();
        var (position, end) = (0, prompt.Length);
        while (true)
        {
            if (position < end && groups.TryGetValue(position, out var group))
            {
                outer.Push((group.Close + 1, end));
                (position, end) = group.Select(step);
            }
            else if (position < end)
            {
                text.Append(prompt[position++]);
            }
            else if (outer.TryPop(out var next))
            {
                (position, end) = next;
            }
            else
            {
                return text.ToString();
            }
        }
    }

    private sealed class Group(int open, bool isSquare)
    {
        public int Open => open;

        public bool IsSquare => isSquare;

        public List<int> Colons { get; } = [];

        public List<int> Bars { get; } = [];

        public int Close { get; set; }

        public bool IsBroken { get; set; }

        /// <summary>Of editing: the last step of what stands before.</summary>
        public int When { get; set; }

        /// <summary>The part of the prompt that counts at a step.</summary>
        public (int Start, int End) Select(int step)
        {
            if (Bars.Count > 0)
            {
                var index = (step - 1) % (Bars.Count + 1);
                return (index == 0 ? Open + 1 : Bars[index - 1] + 1, index == Bars.Count ? Close : Bars[index]);
            }

            var before = Colons.Count == 1 ? (Open + 1, Open + 1) : (Open + 1, Colons[0]);
            var after = Colons.Count == 1 ? (Open + 1, Colons[0]) : (Colons[0] + 1, Colons[1]);
            return step <= When ? before : after;
        }
    }
}
